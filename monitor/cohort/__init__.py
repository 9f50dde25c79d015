"""Many people: their recordings detected again and summarised, on this computer or on a cluster.

    storage ─► members ─► pieces, each recording's in turn, many recordings at once ─► Parquet ─► rates, effects

    storage.py    folders here and buckets elsewhere
    members.py    which recordings there are, and whose
    pieces.py     one recording, piece by piece, to tables that stay
    cluster.py    who does it: Dask
    effects.py    one person's response to each trigger
    rates.py      rates of people by site and group     (pure)
    meta.py       one answer from many people's         (pure)
    run.py        all of it, begun or gone on with

Rules of this package:

* A piece does not overlap the one before: it goes on with the detector as that left it, pickled. What a
  detector has learned (noise, mains, hearts, motor units) has no end to its memory, so no overlap would make
  pieces of a recording the same as the whole, and this does, bit for bit. The price: pieces of one recording
  come one after the other; what runs at once is recordings.
* What is written depends on the recording and the settings alone, and stands under a name of its own. A piece
  counts as done once its mark is there, which is written last; a piece without a mark is done again and gives
  the same.
* A snapshot is a pickle, which can run code: go on only with results that you made yourself.
"""
