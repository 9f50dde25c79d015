"""Alerts: what a person should know now, and what they answered.

    views, troubles ─► watching ─► Reading ─► Engine ─► Alert ─► store ─► outbox ─► MQTT, webhook, desktop
                                   rules ─┘      ▲
                  command, page, MQTT ─► said.sqlite

Any program reads them from the data folder, `Archive.alerts` (as they are) and `Archive.alert_history` (what
happened), and answers with `said.said_of` and `said.say`, whether something runs or not.

Medical calm: what is on by default is about the instruments. Nothing compares a person to a disease; a rate is
compared with a number the person chose, or with their own past.
"""
