from monitor.page import frame
def build(reader, *rest):
    with frame.screen("/history", "history"):
        pass
def warm(reader): pass
def screen_of(reader): return lambda: build(reader)
