#!/usr/bin/env bash
# Installs what pip cannot: a compiler, doctest, Python's venv, and a browser that the pages of reports are tested in.
set -euo pipefail
if ! command -v g++ >/dev/null || [ ! -d /usr/include/doctest ] || ! python3 -c "import ensurepip" 2>/dev/null ||
    ! command -v chromedriver >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq g++ doctest-dev python3-venv chromium chromium-driver \
        >/dev/null
fi
