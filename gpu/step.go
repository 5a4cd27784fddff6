package gpu

import (
	"context"
	"errors"

	"mlx-worker/batcher"
	"mlx-worker/gpu/mlx"
	"mlx-worker/internal/fault"
)

// Step implements batcher.Engine. All rows are dispatched before the first is waited for.
func (e *Engine) Step(ctx context.Context, rows []batcher.Row) ([]batcher.StepResult, error) {
	results := make([]batcher.StepResult, len(rows))
	err := e.do(ctx, func() error {
		for i, row := range rows {
			if err := start(row); err != nil {
				results[i].Err = rowError(err)
			}
		}
		for i, row := range rows {
			if results[i].Err != nil || row.PromptTokens > 0 {
				continue
			}
			result, err := row.Sequence.(*sequence).collect()
			if err != nil {
				result.Err = rowError(err)
			}
			results[i] = result
		}
		return nil
	})
	return results, err
}

func start(row batcher.Row) error {
	s, ok := row.Sequence.(*sequence)
	if !ok {
		return fault.New(fault.Internal, "a row holds a sequence of another engine: %T", row.Sequence)
	}
	if s.closed.Load() {
		return fault.New(fault.Internal, "a row holds a closed sequence")
	}
	if row.PromptTokens > 0 {
		return s.prefill(row.PromptTokens)
	}
	return s.dispatch(row.Last)
}

func rowError(err error) error {
	var op *mlx.OpError
	if errors.As(err, &op) {
		return fault.New(fault.Generation, "the model's step failed in %s: %w", op.Op, err).With("cause", err.Error())
	}
	return err
}
