"""Grafana dashboards, made of the names that the sink sends: `python -m dashboards.generate`.

    line_protocol.SCHEMA ─► influxql ─► boards, alerts ─► grafana ─► *.json, provisioning/

Rules: of `monitor` only the schema and the words that stand in tags are known here, and no name of theirs is
written again. What is generated is checked in; a test generates it anew.
"""
