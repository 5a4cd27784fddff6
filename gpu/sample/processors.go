package sample

import (
	"fmt"

	"mlx-worker/gpu/mlx"
)

// process applies logit bias and penalties. Few logits change, so they are addressed one by one
// across all rows, in the flat array; rows without bias and penalties cost nothing.
func process(s *mlx.Scope, logits, newest mlx.Array, rows []Row) mlx.Array {
	var p processors
	p.collect(s, rows, logits.Dim(-1))
	if s.Err() != nil || len(p.biased) == 0 && len(p.rows) == 0 {
		return logits
	}
	flat := s.Reshape(logits, -1)
	if len(p.biased) > 0 {
		flat = s.ScatterAddAxis(flat, s.Int32s(p.biased, len(p.biased)), vector(s, p.biases, flat), 0)
	}
	if len(p.rows) > 0 {
		flat = p.penalise(s, flat, p.indices(s, newest))
	}
	return s.Reshape(flat, len(rows), -1)
}

// processors are the logits to change: indices into the flat array, and parameters.
type processors struct {
	biased []int32
	biases []float32

	seen   []int32 // context tokens but the newest one of each row
	rows   []int32 // numbers of the rows with penalties
	starts []int32 // where the logits of these rows start

	// One element for each of seen, then one for each of rows.
	repetition, presence, frequency []float32
	repeats, present, frequent      bool // some element is not neutral
}

func (p *processors) collect(s *mlx.Scope, rows []Row, vocab int) {
	for i := range rows {
		start := i * vocab
		for id, bias := range rows[i].LogitBias {
			p.biased = append(p.biased, index(s, start, id, vocab))
			p.biases = append(p.biases, bias)
		}
		if !rows[i].penalised() {
			continue
		}
		p.rows = append(p.rows, int32(i))
		p.starts = append(p.starts, int32(start))
		for _, id := range rows[i].context() {
			p.seen = append(p.seen, index(s, start, id, vocab))
			p.add(&rows[i])
		}
	}
	for _, number := range p.rows {
		p.add(&rows[number])
	}
}

// add appends the parameters of one occurrence of a token.
func (p *processors) add(r *Row) {
	p.repetition = append(p.repetition, float32(r.repetition()))
	p.presence = append(p.presence, float32(r.PresencePenalty))
	p.frequency = append(p.frequency, float32(-r.FrequencyPenalty))
	p.repeats = p.repeats || r.repetition() != 1
	p.present = p.present || r.PresencePenalty != 0
	p.frequent = p.frequent || r.FrequencyPenalty != 0
}

// indices returns those of all context tokens.
func (p *processors) indices(s *mlx.Scope, newest mlx.Array) mlx.Array {
	last := s.Add(take(s, newest, p.rows), s.Int32s(p.starts, len(p.starts)))
	if len(p.seen) == 0 {
		return last
	}
	return s.Concatenate(0, s.Int32s(p.seen, len(p.seen)), last)
}

func (p *processors) penalise(s *mlx.Scope, flat, indices mlx.Array) mlx.Array {
	if p.repeats || p.present {
		// Occurrences of one token write the same value.
		seen := s.Take(flat, indices, 0)
		if p.repeats {
			factor := vector(s, p.repetition, flat)
			seen = s.Where(s.Less(seen, s.Scalar(0, mlx.Float32)), s.Multiply(seen, factor), s.Divide(seen, factor))
		}
		if p.present {
			seen = s.Subtract(seen, vector(s, p.presence, flat))
		}
		flat = s.PutAlongAxis(flat, indices, seen, 0)
	}
	if p.frequent {
		flat = s.ScatterAddAxis(flat, indices, vector(s, p.frequency, flat), 0)
	}
	return flat
}

// index returns the place of id's logit in the flat array.
func index(s *mlx.Scope, start int, id int32, vocab int) int32 {
	if id < 0 || int(id) >= vocab {
		s.Fail(fmt.Errorf("sample: token %d is not in 0..%d", id, vocab-1))
	}
	return int32(start) + id
}

// vector returns values in the dtype of like.
func vector(s *mlx.Scope, values []float32, like mlx.Array) mlx.Array {
	if s.Err() != nil {
		return mlx.Array{}
	}
	return s.AsType(s.Float32s(values, len(values)), like.DType())
}
