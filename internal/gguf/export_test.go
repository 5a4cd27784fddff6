package gguf

// Parse gives the tests the parser without a file.
var Parse = parse
