package gpu_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"mlx-worker/batcher"
	"mlx-worker/gpu"
	"mlx-worker/gpu/load"
	"mlx-worker/gpu/mlx"
	"mlx-worker/gpu/models"
	"mlx-worker/internal/fault"
)

// dense returns the case without its quantisation, and the format that it had.
func (m tinyCase) dense(t *testing.T) (tinyCase, batcher.Quantization) {
	t.Helper()
	var config map[string]json.RawMessage
	if err := json.Unmarshal(m.Config, &config); err != nil {
		t.Fatal(err)
	}
	var f format
	if err := json.Unmarshal(config["quantization"], &f); err != nil {
		t.Fatal(err)
	}
	delete(config, "quantization")
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Config, m.Formats = raw, nil
	return m, batcher.Quantization{Mode: string(f.Mode), Bits: f.Bits, GroupSize: f.GroupSize}
}

// TestQuantisingWhileLoadingEqualsMLXLM loads the dense weights of quantised cases and quantises
// the layers that mlx-lm does, each as mlx-lm does.
func TestQuantisingWhileLoadingEqualsMLXLM(t *testing.T) {
	for name, m := range readTinyModels(t) {
		if !strings.HasSuffix(name, "-4bit") && !strings.HasPrefix(name, "quant-") || name == "quant-inferred" || name == "quant-mixed-modes" {
			continue // these say layer by layer how they are quantised
		}
		t.Run(name, func(t *testing.T) {
			skipMostUnderRace(t, name)
			dense, quantization := m.dense(t)
			dense.checkFormats(t, quantization, m.Formats)
			dir := t.TempDir()
			dense.write(t, dir)
			engine := newEngine(t, gpu.Config{DenseWeights: "off"})
			info, err := engine.Load(context.Background(), batcher.LoadRequest{ModelID: modelID, Path: dir, Quantization: quantization}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if info.Quantization.Bits != quantization.Bits || info.Quantization.GroupSize != quantization.GroupSize {
				t.Errorf("asked for %+v, got %+v", quantization, info.Quantization)
			}
			for label, run := range m.Runs {
				m.judge(t, "off", label, generate(t, engine, run.Prompt, len(run.Tokens), m.PrefillTokens, batcher.SequenceOptions{LogProbs: true}), true)
			}
		})
	}
}

// checkFormats compares how each matrix that mlx-lm quantised would be quantised here.
func (m *tinyCase) checkFormats(t *testing.T, quantization batcher.Quantization, want map[string]format) {
	t.Helper()
	config, err := load.ParseConfig(m.Config)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := load.NewQuantSpec(mlx.QuantMode(quantization.Mode), quantization.Bits, quantization.GroupSize)
	if err != nil {
		t.Fatal(err)
	}
	conversion, err := models.Convert(config, spec)
	if err != nil {
		t.Fatal(err)
	}
	for path, f := range want {
		shape := m.Parameters[path+".weight"]
		if got := conversion.Format(path, shape[len(shape)-1]); got == nil || format(*got) != f {
			t.Errorf("%s becomes %+v, want %+v", path, got, f)
		}
	}
}

func TestQuantisationOfTheRequest(t *testing.T) {
	engine := newEngine(t, gpu.Config{})
	ctx := context.Background()
	quantised := t.TempDir()
	writeTinyLlama(t, quantised, strings.Replace(tinyConfig, "{", `{"quantization":{"bits":4,"group_size":32},`, 1), 1)
	plain := tinyModel(t)
	for _, c := range []struct {
		path string
		q    batcher.Quantization
		want batcher.Quantization // of the model
		says string               // if it is refused
	}{
		{plain, batcher.Quantization{Bits: 8}, batcher.Quantization{Mode: "affine", Bits: 8, GroupSize: 64}, ""},
		{plain, batcher.Quantization{Mode: "mxfp4"}, batcher.Quantization{Mode: "mxfp4", Bits: 4, GroupSize: 32}, ""},
		{quantised, batcher.Quantization{Bits: 4, GroupSize: 32}, batcher.Quantization{Mode: "affine", Bits: 4, GroupSize: 32}, ""},
		{quantised, batcher.Quantization{Bits: 8}, batcher.Quantization{}, "quantised already, to 4 bit affine in groups of 32"},
		{plain, batcher.Quantization{Bits: 7}, batcher.Quantization{}, "bits 7; accepted: 2, 3, 4, 5, 6, 8"},
		{plain, batcher.Quantization{Bits: 4, GroupSize: 48}, batcher.Quantization{}, "group_size 48; accepted: 32, 64, 128"},
		{plain, batcher.Quantization{Mode: "nvfp4", Bits: 8}, batcher.Quantization{}, "nvfp4"},
		{plain, batcher.Quantization{Mode: "gptq"}, batcher.Quantization{}, `mode "gptq" is not supported`},
	} {
		info, err := engine.Load(ctx, batcher.LoadRequest{ModelID: modelID, Path: c.path, Quantization: c.q}, nil)
		if c.says != "" {
			if !fault.Is(err, fault.InvalidParams) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v: %v, want %q", c.q, err, c.says)
			}
			continue
		}
		if err != nil || *info.Quantization != c.want {
			t.Errorf("%+v: %+v, %v", c.q, info.Quantization, err)
			continue
		}
		if _, err := engine.Unload(ctx, modelID); err != nil {
			t.Fatal(err)
		}
	}
	if m := engine.Memory(); m.ActiveBytes != 0 {
		t.Errorf("%d bytes are left", m.ActiveBytes)
	}
}
