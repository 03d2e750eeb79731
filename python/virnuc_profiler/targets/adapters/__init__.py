# SPDX-License-Identifier: MIT
"""Programs of others as targets. Each adapter runs its program as it is, and imports only what the user installed."""
