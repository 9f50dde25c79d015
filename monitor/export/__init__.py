"""What leaves a data folder as files that others read.

    source.py       one person's data folder: whose, which devices, from when to when
    edf.py          the raw signal as EDF+C or BDF+C
    bids.py         the same in the layout of BIDS-EMG 1.11
    tables.py       what was found, as CSV or Parquet; the raw signal as Parquet

Rules of this package:

* Pseudonymous unless told otherwise: no name, address or serial number of a device, and nothing that a person
  wrote in words. Times stay, as hours and days are what triggers are about.
* Signal is written as it is read, some seconds at a time: days of it take no memory.
* A file has its name only when it is whole.
"""
