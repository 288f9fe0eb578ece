package guard

// mutant is a fault that a test puts in before it opens a guard, to show that the
// crash tests' oracle would see it. It is 0 in every other case.
var mutant int

const (
	tellsUnsynced = iota + 1 // a caller is told before its record is durable
	tellsFirst               // a caller is told before its record is written
	swapsNothing             // a promotion leaves the ref where it is
)
