# SPDX-License-Identifier: MIT
"""Pages of captures by Nsight Systems."""
