package envcfg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type duration = time.Duration

// Variable is one row of the table.
type Variable struct {
	Name    string
	Type    string // "on/off", "integer", "number", "milliseconds", "bytes", "choice" or "path"
	Default string // as it would be written; "": none
	Accepts string // what a value may be, for a person
	Doc     string

	// set parses value into c; its error has no text of its own.
	set func(c *Config, value string) bool
}

// Error is a variable with a value that is not accepted.
type Error struct {
	Name    string
	Value   string
	Accepts string
}

// Error names the variable, its value and what is accepted, on one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s=%q: accepted is %s", e.Name, e.Value, e.Accepts)
}

func onOff(name string, def bool, doc string, field func(*Config) *bool) Variable {
	return Variable{
		Name: name, Type: "on/off", Default: formatOnOff(def), Accepts: "on or off", Doc: doc,
		set: func(c *Config, value string) bool {
			switch strings.ToLower(value) {
			case "on":
				*field(c) = true
			case "off":
				*field(c) = false
			default:
				return false
			}
			return true
		},
	}
}

func formatOnOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func integer(name string, def, low, high int, doc string, field func(*Config) *int) Variable {
	return Variable{
		Name: name, Type: "integer", Default: strconv.Itoa(def),
		Accepts: fmt.Sprintf("an integer from %d to %d", low, high), Doc: doc,
		set: func(c *Config, value string) bool {
			n, err := strconv.Atoi(value)
			*field(c) = n
			return err == nil && n >= low && n <= high
		},
	}
}

func number(name string, def, low, high float64, doc string, field func(*Config) *float64) Variable {
	return Variable{
		Name: name, Type: "number", Default: formatNumber(def),
		Accepts: fmt.Sprintf("a number from %s to %s", formatNumber(low), formatNumber(high)), Doc: doc,
		set: func(c *Config, value string) bool {
			x, err := strconv.ParseFloat(value, 64)
			*field(c) = x
			return err == nil && x >= low && x <= high // false for NaN
		},
	}
}

func milliseconds(name string, def, low, high float64, doc string, field func(*Config) *duration) Variable {
	v := number(name, def, low, high, doc, nil)
	v.Type = "milliseconds"
	v.Accepts = fmt.Sprintf("milliseconds from %s to %s", formatNumber(low), formatNumber(high))
	v.set = func(c *Config, value string) bool {
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || !(x >= low && x <= high) {
			return false
		}
		*field(c) = time.Duration(x * float64(time.Millisecond))
		return true
	}
	return v
}

// maxSize is far above any memory and keeps sums of sizes within an int64.
const maxSize = 1 << 50

func size(name, doc string, field func(*Config) *int64) Variable {
	return Variable{
		Name: name, Type: "bytes", Default: "auto",
		Accepts: fmt.Sprintf("auto or a number of bytes from 0 to %d", int64(maxSize)), Doc: doc,
		set: func(c *Config, value string) bool {
			if strings.EqualFold(value, "auto") {
				*field(c) = Auto
				return true
			}
			n, err := strconv.ParseInt(value, 10, 64)
			*field(c) = n
			return err == nil && n >= 0 && n <= maxSize
		},
	}
}

// enum's first choice is the default.
func enum(name string, choices []string, doc string, field func(*Config) *string) Variable {
	last := len(choices) - 1
	return Variable{
		Name: name, Type: "choice", Default: choices[0],
		Accepts: strings.Join(choices[:last], ", ") + " or " + choices[last], Doc: doc,
		set: func(c *Config, value string) bool {
			*field(c) = strings.ToLower(value)
			return slices.Contains(choices, strings.ToLower(value))
		},
	}
}

func path(name, doc string, field func(*Config) *string) Variable {
	return Variable{
		Name: name, Type: "path", Accepts: "the path of a folder", Doc: doc,
		set: func(c *Config, value string) bool {
			*field(c) = value
			return !strings.ContainsRune(value, 0)
		},
	}
}

func formatNumber(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
