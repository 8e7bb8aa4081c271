//! The bytes of what is asked of another node itself, and of its answer.

use super::of_node::{NodeAnswer, NodeQuestion};
use super::request::Request;
use super::response::Response;
use super::{WireError, WireVersion, put, take};

pub fn encode_node_question(question: NodeQuestion, wire: WireVersion) -> Result<Vec<u8>, WireError> {
    put(&Request::OfNode(question), wire)
}

/// `None`: it is a request for an entity, or none.
pub fn decode_node_question(bytes: &[u8]) -> Option<NodeQuestion> {
    if bytes.first() != Some(&Request::OF_NODE) {
        return None;
    }
    match take(bytes) {
        Ok(Request::OfNode(question)) => Some(question),
        Ok(Request::Ask { .. }) | Err(_) => None,
    }
}

pub fn encode_node_answer(answer: NodeAnswer, wire: WireVersion) -> Result<Vec<u8>, WireError> {
    put(&Response::OfNode(answer), wire)
}

pub fn decode_node_answer(bytes: &[u8]) -> Result<NodeAnswer, WireError> {
    match take(bytes)? {
        Response::OfNode(answer) => Ok(answer),
        Response::Unsupported | Response::Answered { .. } | Response::Refused(_) | Response::Operated { .. } => {
            Err(WireError::Malformed("no answer of a node".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::kinds;
    use crate::actors::runtime::envelope::OwedStep;
    use crate::actors::runtime::overdue::{Overdue, OverdueList, Place};
    use crate::actors::values::Time;

    #[test]
    fn what_is_owed_there_is_shown_as_if_it_were_owed_here() {
        let place: Place = "7.3.9".parse().expect("a place");
        let owed =
            OwedStep { step: "capture".into(), waiting_for: None, since: Time(7), attempts: 2, last_error: None };
        let steps = vec![Overdue { place, kind: "order", id: "ord_00000000000000000000000000".into(), owed }];
        let answer = NodeAnswer::overdue(OverdueList { steps: steps.clone(), total: 4 }, kinds::all());
        let bytes = encode_node_answer(answer, WireVersion::OURS).expect("it may cross");
        let there = decode_node_answer(&bytes).expect("an answer").into_overdue(kinds::all()).expect("a list");
        let shown = |steps: &[Overdue]| format!("{steps:?}");
        assert_eq!((shown(&there.steps), there.total), (shown(&steps), 4));
        assert_eq!(decode_node_question(&bytes), None);
    }
}
