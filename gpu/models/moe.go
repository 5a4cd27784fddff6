package models

import (
	"strconv"
	"strings"

	"mlx-worker/gpu/nn"
	"mlx-worker/internal/fault"
)

// expertsBelow names the experts of the layer at path as most families do.
func expertsBelow(path string) nn.ExpertNames {
	return nn.ExpertNames{
		Stacked: path + ".switch_mlp", Single: path + ".experts",
		Gate: "gate_proj", Up: "up_proj", Down: "down_proj",
	}
}

// numberedExperts names them as Mixtral does.
func numberedExperts(path string) nn.ExpertNames {
	return nn.ExpertNames{Stacked: path + ".switch_mlp", Single: path + ".experts", Gate: "w1", Up: "w3", Down: "w2"}
}

// checkExperts checks that tokens can choose as many experts as the configuration says at
// chosenKey, of those that it says at key.
func checkExperts(key string, experts int, chosenKey string, chosen int) error {
	if experts <= 0 {
		return fault.New(fault.ModelLoad, "config.json: %s is %d, and must be positive", key, experts)
	}
	if chosen <= 0 || chosen > experts {
		return fault.New(fault.ModelLoad, "config.json: %s is %d; accepted: 1 to %s, %d", chosenKey, chosen, key, experts)
	}
	return nil
}

// isLaterLayer reports whether an array belongs to a layer after the last, which predicts further
// tokens and is not used.
func isLaterLayer(layers int) func(name string) bool {
	return func(name string) bool {
		rest, found := strings.CutPrefix(name, "model.layers.")
		number, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(number)
		return found && err == nil && n >= layers
	}
}

// layerWith builds llama's block at path with another feed-forward part.
func (c *llamaConfig) layerWith(b *nn.Builder, path string, rope *nn.RoPE, mlp feedForward) *preNorm {
	return &preNorm{
		attentionNorm: b.RMSNorm(path+".input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention:     c.attention(b, path, rope),
		mlpNorm:       b.RMSNorm(path+".post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp:           mlp,
	}
}

// routedConfig is what DeepSeek's configuration, and those after its example, say of experts.
type routedConfig struct {
	Experts          *int    `json:"n_routed_experts"` // null: no layer has experts
	SharedExperts    *int    `json:"n_shared_experts"`
	ChosenExperts    int     `json:"num_experts_per_tok"`
	ExpertSize       int     `json:"moe_intermediate_size"`
	FirstSparseLayer int     `json:"first_k_dense_replace"`
	RoutingScale     float64 `json:"routed_scaling_factor"`
	RoutingMethod    string  `json:"topk_method"`
	ScoringMethod    string  `json:"scoring_func"`
	NormalizeWeights bool    `json:"norm_topk_prob"`
	Groups           int     `json:"n_group"`
	ChosenGroups     int     `json:"topk_group"`
}

// correctedDefaults are those of experts that nn.CorrectedRouter chooses.
func correctedDefaults() routedConfig {
	return routedConfig{
		RoutingScale: 1, RoutingMethod: correctedRouting, ScoringMethod: "sigmoid",
		NormalizeWeights: true, Groups: 1, ChosenGroups: 1,
	}
}

func (c *routedConfig) complete() error {
	if c.Experts == nil {
		return nil
	}
	if c.ExpertSize <= 0 {
		return fault.New(fault.ModelLoad, "config.json: moe_intermediate_size is %d, and must be positive", c.ExpertSize)
	}
	if err := checkExperts("n_routed_experts", *c.Experts, "num_experts_per_tok", c.ChosenExperts); err != nil {
		return err
	}
	switch {
	case c.Groups <= 1:
	case *c.Experts%c.Groups != 0 || *c.Experts/c.Groups < 2:
		return fault.New(fault.ModelLoad, "config.json: n_group is %d, which does not divide %d experts into groups of 2 or more", c.Groups, *c.Experts)
	case c.ChosenGroups < 1 || c.ChosenGroups > c.Groups:
		return fault.New(fault.ModelLoad, "config.json: topk_group is %d; accepted: 1 to n_group, %d", c.ChosenGroups, c.Groups)
	}
	return nil
}

func (c *routedConfig) groups() nn.Groups { return nn.Groups{Count: c.Groups, Chosen: c.ChosenGroups} }

// correctedRouting is the topk_method of nn.CorrectedRouter.
const correctedRouting = "noaux_tc"

// checkCorrected checks that nn.CorrectedRouter is what the configuration says.
func (c *routedConfig) checkCorrected() error {
	if c.RoutingMethod != correctedRouting {
		return fault.New(fault.ModelLoad, "config.json: topk_method is %q; accepted: %s", c.RoutingMethod, correctedRouting)
	}
	if c.ScoringMethod != "sigmoid" {
		return fault.New(fault.ModelLoad, "config.json: scoring_func is %q; accepted: sigmoid", c.ScoringMethod)
	}
	return nil
}

// corrected builds the router of the gate at path.
func (c *routedConfig) corrected(b *nn.Builder, path string, hidden int) nn.Router {
	router := nn.CorrectedRouter{
		Gate:       b.Linear(path, hidden, *c.Experts),
		Correction: b.Vector(path+".e_score_correction_bias", *c.Experts),
		K:          c.ChosenExperts, Groups: c.groups(), Normalized: c.NormalizeWeights, Scale: c.RoutingScale,
	}
	return router.Route
}

// experts builds the experts of the layer at path, and the shared ones.
func (c *routedConfig) experts(b *nn.Builder, path string, names nn.ExpertNames, hidden int, route nn.Router) feedForward {
	m := &nn.MoE{Route: route, Experts: b.GatedExpertsNamed(names, *c.Experts, hidden, c.ExpertSize)}
	if c.SharedExperts != nil && *c.SharedExperts > 0 {
		m.Shared = b.SwiGLU(path+".shared_experts", hidden, *c.SharedExperts*c.ExpertSize)
	}
	return m
}
