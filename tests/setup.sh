#!/bin/sh
# What the stories need besides the machine's own packages: npm packages, a Python with aiortc, an S3 server,
# and a publisher on pion.
# Quick when done.
set -eu
cd "$(dirname "$0")"

if ! cmp -s package-lock.json node_modules/.lectern-lock; then
    npm ci --no-fund --no-audit
    cp package-lock.json node_modules/.lectern-lock
fi

if ! cmp -s requirements.txt .venv/.lectern-requirements; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/.lectern-requirements
fi

../scripts/s3.sh
../scripts/pion.sh
