// Package sim replays traces of requests against the real batcher under fake time, with an engine
// that computes nothing and takes the time which a cost model says. An hour of traffic takes
// seconds, and two runs are equal to the nanosecond.
//
// TestSimulate runs the sweeps and writes their results as JSON; npm run bench:sim wraps it. The
// other tests run small traces and check what must hold whatever the settings are.
package sim
