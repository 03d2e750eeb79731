#!/usr/bin/env bash
# Installs what pip cannot: a compiler, doctest, Python's venv, a browser that the pages of reports are
# tested in, and Node, which runs the trace processor that reads exported traces.
set -euo pipefail
if ! command -v g++ >/dev/null || [ ! -d /usr/include/doctest ] || ! python3 -c "import ensurepip" 2>/dev/null ||
    ! command -v chromedriver >/dev/null || ! command -v node >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq g++ doctest-dev python3-venv chromium chromium-driver nodejs \
        >/dev/null
fi
