//! BPE merges of a SentencePiece vocabulary, which stores scores instead.

use std::cmp::Ordering;
use std::collections::HashMap;

/// Recovers the merge list from `(piece, score)` pairs in vocabulary order: every way to
/// cut a piece into two other pieces is a merge, best score first, as transformers'
/// converters do. `mergeable(id)` says which pieces may be the result of a merge.
pub fn from_scores(
    tokens: &[String],
    scores: &[f32],
    mergeable: impl Fn(usize) -> bool,
) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let mut merges: Vec<Merge> = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(id, _)| mergeable(*id)) {
        let first = merges.len();
        let length = token.chars().count();
        for (count, (at, _)) in token.char_indices().enumerate().skip(1) {
            if let (Some(&left), Some(&right)) = (ids.get(&token[..at]), ids.get(&token[at..])) {
                merges.push(Merge {
                    score: scores[id],
                    lengths: (count, length - count),
                    parts: (left, right),
                });
            }
        }
        merges[first..].sort_by_key(|merge| merge.parts);
    }
    merges.sort_by(Merge::rank);
    merges
        .into_iter()
        .map(|merge| (tokens[merge.parts.0].clone(), tokens[merge.parts.1].clone()))
        .collect()
}

struct Merge {
    score: f32,
    /// Characters of the two parts.
    lengths: (usize, usize),
    /// Ids of the two parts.
    parts: (usize, usize),
}

impl Merge {
    fn rank(a: &Merge, b: &Merge) -> Ordering {
        b.score.total_cmp(&a.score).then(b.lengths.cmp(&a.lengths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn best_score_first_and_longer_parts_before_shorter() {
        let tokens = names(&["a", "b", "c", "ab", "bc", "abc"]);
        let scores = [0.0, 0.0, 0.0, -2.0, -1.0, -3.0];
        let merges = from_scores(&tokens, &scores, |_| true);
        let expected = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")];
        assert_eq!(
            merges,
            expected.map(|(a, b)| (a.to_string(), b.to_string()))
        );
    }

    #[test]
    fn cuts_fall_between_characters_and_spare_what_may_not_merge() {
        let tokens = names(&["▁", "é", "▁é", "<s>", "<", "s>"]);
        let scores = [0.0; 6];
        let merges = from_scores(&tokens, &scores, |id| id != 3);
        assert_eq!(merges, [("▁".to_string(), "é".to_string())]);
    }
}
