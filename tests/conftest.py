"""For all tests: a busy machine makes no property false, and Ctrl-C reaches what they start."""

import signal

from hypothesis import settings

settings.register_profile("fasciwatch", deadline=None)
settings.load_profile("fasciwatch")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background, which children would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
