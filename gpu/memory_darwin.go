package gpu

import "mlx-worker/gpu/mlx"

// availableMemoryBytes is the physical memory: macOS names no figure of what is free that
// would count what it can reclaim.
func availableMemoryBytes() int64 { return mlx.PhysicalMemoryBytes() }
