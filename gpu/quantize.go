package gpu

import (
	"fmt"

	"mlx-worker/batcher"
	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/models"
	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// quantizeTo decides how the model's matrices are quantised once it is loaded, nil if not at all,
// and what has to be done for that. A checkpoint that is quantised stays as it is; to ask for
// another format is an error.
func quantizeTo(asked batcher.Quantization, config *load.Config) (*load.QuantSpec, *nn.Conversion, error) {
	stored := config.Quantization()
	if asked == (batcher.Quantization{}) {
		return stored, nil, nil
	}
	refuse := func(format string, args ...any) error {
		return fault.New(fault.InvalidParams, "quantization: "+format, args...).With("param", "quantization")
	}
	spec, err := load.NewQuantSpec(mlx.QuantMode(asked.Mode), asked.Bits, asked.GroupSize)
	if err != nil {
		return nil, nil, refuse("%w", err)
	}
	if stored != nil {
		if *stored != *spec {
			return nil, nil, refuse("the checkpoint is quantised already, to %s, and cannot become %s; accepted: none", describe(stored), describe(spec))
		}
		return stored, nil, nil
	}
	conversion, err := models.Convert(config, spec)
	return spec, conversion, err
}

func describe(q *load.QuantSpec) string {
	return fmt.Sprintf("%d bit %s in groups of %d", q.Bits, q.Mode, q.GroupSize)
}
