# SPDX-License-Identifier: MIT
"""Operations of the packed forward that choose between implementations."""
