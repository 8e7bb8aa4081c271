//! How what happens reads in a transcript.

use crate::cluster::protocol::messages::*;

pub fn message(message: &Message) -> String {
    match message {
        Message::Offer { slot, epoch } => format!("Offer {slot}@{epoch}"),
        Message::Accept { slot, epoch, term } => format!("Accept {slot}@{epoch} term {term}"),
        Message::Decline { slot, epoch } => format!("Decline {slot}@{epoch}"),
        Message::Transferred { slot, epoch, term: Some(term) } => format!("Transferred {slot}@{epoch} term {term}"),
        Message::Transferred { slot, epoch, term: None } => format!("Transferred {slot}@{epoch}"),
        Message::Look => "Look".to_owned(),
    }
}

/// What is worth telling: not what happens many times a second, nor what follows from it.
pub fn output(output: &Output) -> Option<String> {
    match output {
        Output::Renew { .. } | Output::ReadStore { .. } | Output::LeaseValid { .. } | Output::Route { .. } => None,
        Output::Send { .. } => None,
        Output::Claim { slots } => {
            let slots: Vec<String> = slots.iter().map(|(slot, epoch)| format!("{slot}@{epoch}")).collect();
            Some(format!("claims {}", slots.join(" ")))
        }
        Output::Transfer { slot, epoch, to } => Some(format!("transfers {slot}@{epoch} to {to}")),
        Output::Forget { node } => Some(format!("forgets {node}")),
        Output::Drained => Some("has drained".to_owned()),
        Output::StartSlot { slot, epoch } => Some(format!("starts {slot}@{epoch}")),
        Output::SuspendSlot { slot } => Some(format!("suspends {slot}")),
        Output::KeepSlot { slot, epoch } => Some(format!("keeps {slot}@{epoch}")),
        Output::StopSlot { slot, why } => Some(format!("stops {slot} ({why:?})")),
        Output::Event(event) => Some(format!("sees {}", self::event(event)?)),
        Output::End { why } => Some(format!("ends: {why:?}")),
    }
}

fn event(event: &Event) -> Option<String> {
    match event {
        Event::SlotClaimed { .. } | Event::SlotMoved { .. } | Event::PlanChanged { .. } => None,
        event => Some(format!("{event:?}")),
    }
}
