"""For all tests: a busy machine makes no property false, and signals of a terminal reach what they start."""

import signal

from hypothesis import settings

settings.register_profile("fasciwatch", deadline=None)
settings.load_profile("fasciwatch")

for ignored, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:  # in the background, or by nohup; children would inherit it
        signal.signal(ignored, handler)
