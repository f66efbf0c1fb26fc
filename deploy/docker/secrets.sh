#!/bin/sh
# Makes the keys with which the roles of docker-compose.yml log in at NATS, in the folder secrets beside this file. Keys that are there stay.
# It runs `sluice nkeys`: the program if it is installed, else the image (SLUICE_IMAGE, default sluice:local).
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
if command -v sluice >/dev/null 2>&1; then
  sluice nkeys secrets
else
  docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$PWD/secrets:/secrets" "${SLUICE_IMAGE:-sluice:local}" nkeys /secrets
fi
# Compose mounts each file into the containers of its role with the permissions it has here, and they run as another user.
# The folder keeps everybody else on this machine out.
chmod 644 secrets/*.nk
