package loader

// Gate is replaced by the gate tooling.
type Gate struct{ Name string }
