# The collector in a container: Linux, with the Bluetooth of the host by its D-Bus. Built from a checkout.
FROM python:3.13.9-slim-bookworm
COPY pyproject.toml constraints.txt README.md LICENSE docker-compose.yml /source/
COPY monitor /source/monitor
COPY firmware_interface /source/firmware_interface
COPY dashboards /source/dashboards
RUN pip install --no-cache-dir --constraint /source/constraints.txt /source && rm -r /source
ENTRYPOINT ["fasciwatch", "run", "--config", "/etc/fasciwatch.toml", "--data", "/data"]
