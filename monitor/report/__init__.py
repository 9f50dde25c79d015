"""The report: one page for a person and for a clinician.

    archive, diary ─► facts ─┐
                             ├─► page (HTML, figures as SVG)
    findings ────────────────┘

Rules: all is pure but the reading of the archive. The page is one file: no script, nothing from the network, and
nothing leaves the machine. Every rate is per *analysable* minute, and says how much that was.
"""
