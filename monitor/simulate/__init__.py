"""People, cohorts and recordings that do not exist, with their truth: to plan a study, and to measure ourselves.

    lives.py     a life: twitches, wear and a diary of triggers, with known rate ratios
    stores.py    a life as a data folder, and minutes of emulated signal as one
    cohort.py    N people in groups; the power of a design

Rule: randomness is a seed; the same seed is the same person, file for file.
"""
