package exporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mlx-worker/batcher"
)

// collector turns one snapshot into the metrics of one scrape.
type collector struct {
	snapshot func() batcher.Snapshot
	memory   func() batcher.Memory
}

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range families {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	now := figures{c.snapshot(), c.memory()}
	for _, f := range families {
		f.collect(now, func(m prometheus.Metric) { metrics <- m })
	}
}

// figures are what all families of a scrape are computed from.
type figures struct {
	batcher.Snapshot
	engine batcher.Memory
}

// family is one metric name with its series.
type family struct {
	desc    *prometheus.Desc
	collect func(now figures, emit func(prometheus.Metric))
}

// number is a family of one series.
func number(kind prometheus.ValueType, name, help string, value func(figures) float64) family {
	desc := prometheus.NewDesc(name, help, nil, nil)
	return family{desc, func(now figures, emit func(prometheus.Metric)) {
		emit(prometheus.MustNewConstMetric(desc, kind, value(now)))
	}}
}

func gauge(name, help string, value func(figures) float64) family {
	return number(prometheus.GaugeValue, name, help, value)
}

func counter(name, help string, value func(figures) uint64) family {
	return number(prometheus.CounterValue, name, help, func(now figures) float64 { return float64(value(now)) })
}

// byOutcome is a counter with a series for each way a request can end.
func byOutcome(name, help string) family {
	desc := prometheus.NewDesc(name, help, []string{"outcome"}, nil)
	return family{desc, func(now figures, emit func(prometheus.Metric)) {
		for _, outcome := range []struct {
			name  string
			count uint64
		}{
			{"completed", now.Completed},
			{"cancelled", now.Cancelled},
			{"timed_out", now.TimedOut},
			{"failed", now.Failed},
			{"rejected", now.Rejected},
		} {
			emit(prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(outcome.count), outcome.name))
		}
	}}
}

// byWindow is a gauge with a series for each window of time that a rate is known over.
func byWindow(name, help string, value func(batcher.Throughput) float64) family {
	desc := prometheus.NewDesc(name, help, []string{"window"}, nil)
	return family{desc, func(now figures, emit func(prometheus.Metric)) {
		for _, rate := range now.Throughput {
			emit(prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value(rate), windowName(rate.Window)))
		}
	}}
}

// percentiles is a gauge with a series for each percentile. It is no Prometheus summary because
// the percentiles are of the last samples only, and their sum is not kept.
func percentiles(name, help string, latency func(figures) batcher.Latency) family {
	desc := prometheus.NewDesc(name, help, []string{"percentile"}, nil)
	return family{desc, func(now figures, emit func(prometheus.Metric)) {
		l := latency(now)
		for _, p := range []struct {
			name  string
			value time.Duration
		}{{"50", l.P50}, {"95", l.P95}, {"99", l.P99}} {
			emit(prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, p.value.Seconds(), p.name))
		}
	}}
}

// stepRowBounds are the buckets of the histogram of rows a step.
var stepRowBounds = []int{1, 2, 4, 8, 16, 32, 64}

func stepRows(name, help string) family {
	desc := prometheus.NewDesc(name, help, nil, nil)
	return family{desc, func(now figures, emit func(prometheus.Metric)) {
		buckets := map[float64]uint64{}
		for _, bound := range stepRowBounds {
			buckets[float64(bound)] = 0
		}
		for size, n := range now.Batch.Sizes {
			for _, bound := range stepRowBounds {
				if size <= bound {
					buckets[float64(bound)] += n
				}
			}
		}
		steps, rows := now.Batch.Totals()
		emit(prometheus.MustNewConstHistogram(desc, steps, float64(rows), buckets))
	}}
}
