"""The page: a web server beside the collector, which reads what it stores and writes the diary.

    store, raw signal, now.json ─► Reader ─► screens (NiceGUI) and /api/v1 ─► browser
                                       └──── labels and entries ◄─────────────┘

A process of its own: whatever happens here, the collector neither waits nor knows.
"""
