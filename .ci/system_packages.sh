#!/usr/bin/env bash
# Installs what pip cannot: a compiler, doctest and Python's venv.
set -euo pipefail
if ! command -v g++ >/dev/null || [ ! -d /usr/include/doctest ] || ! python3 -c "import ensurepip" 2>/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq g++ doctest-dev python3-venv >/dev/null
fi
