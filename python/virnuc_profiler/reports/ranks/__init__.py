# SPDX-License-Identifier: MIT
"""Jobs of several ranks as text: what is expected of them, and how they went."""
