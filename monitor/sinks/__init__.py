"""Where what was stored goes: one module a kind of server, each the only one that knows its protocol."""
