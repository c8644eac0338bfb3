package percpu

type sigset [2]uint32
