// Force-included into every C++ file of mlx-c (see build-mlxc.sh). It mends three things without
// touching mlx-c's source:
//
//  1. private/io.h calls std::format, which the C++ library of GCC 12 and older does not have.
//  2. The macro mlx_error hands the text of an exception to printf as its *format*: a file name
//     with a % in it garbles the message or reads stray arguments.
//  3. The same macro puts the absolute path of the build folder into every message.
#pragma once
#ifdef __cplusplus

#include <version>

#ifdef __cpp_lib_format
#include <format>
#else
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>

namespace std {

// Writes the text before the next {} and then the value; returns what is left of the pattern.
template <class Value>
string_view mlx_worker_format_one(ostream& out, string_view pattern, const Value& value) {
  const auto hole = pattern.find("{}");
  if (hole == string_view::npos) {
    return pattern;
  }
  out << pattern.substr(0, hole) << value;
  return pattern.substr(hole + 2);
}

// The part of std::format that mlx-c uses: plain {} fields, filled from left to right.
template <class... Values>
string format(string_view pattern, const Values&... values) {
  ostringstream out;
  ((pattern = mlx_worker_format_one(out, pattern, values)), ...);
  out << pattern;
  return out.str();
}

} // namespace std
#endif

// The include guard of error.h keeps this definition for the rest of the file. Every use of the
// macro passes exactly one string.
#include "mlx/c/error.h"
#undef mlx_error
#define mlx_error(message) _mlx_error("mlx-c", __LINE__, "%s", (message))

#endif
