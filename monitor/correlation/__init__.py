"""Does it make me twitch? Logged triggers and counted twitches, and an honest answer.

    tallies ─► bins ──┐
                      ├─► analysis (model, bootstrap, evidence) ─► findings
    triggers ─► questions (catalogue, exposure)

Rules: all is pure but `files`. The same input gives the same answer, bit for bit; time comes in with the data.
"""
