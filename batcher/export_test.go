package batcher

// NewWithRows is New with another row limit: the step loop does not depend on it being 1.
func NewWithRows(engine Engine, cfg Config, rows int) *Batcher {
	b := newBatcher(engine, cfg, rows)
	go b.run()
	return b
}
