# SPDX-License-Identifier: MIT
"""Put packed batches through a model on one device."""
