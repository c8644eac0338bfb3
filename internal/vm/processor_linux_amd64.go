package vm

// Processor returns the number of the processor that the thread runs on at this moment; -1 if it is not known. It reads the
// limit of a segment in which Linux keeps the number, and makes no system call.
func Processor() int
