package allocbench

// pause tells the processor that a loop waits for another processor, as the drivers for C allocators do.
func pause()
