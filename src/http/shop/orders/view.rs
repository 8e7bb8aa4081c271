//! Orders as customers and merchants see them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::order::types::{
    self as order, FulfillmentStatus as Fulfillment, OrderLine, OrderRefusal, OrderStatus as Status,
    PaymentStage as Stage, PaymentStatus as Paid, RefundStatus as RefundWord, RefusalCode, State,
    TimelineType as TimelineWord,
};
use crate::actors::payment::types::PaymentMethod as Method;
use crate::actors::values::{CartId, Money, OrderId, OrderNumber, PaymentId, RefundId, Sku, Time, Totals, UserId};
use crate::http::answer::schema;
use crate::http::shop::carts::view::LineView;
use crate::http::shop::contact::ContactView;
use crate::word_shapes;

word_shapes! {
    pub OrderStatus = Status;
    pub PaymentStatus = Paid;
    pub FulfillmentStatus = Fulfillment;
    /// How far a payment has come.
    pub PaymentStage = Stage;
    pub PaymentMethod = Method;
    pub RefundStatus = RefundWord;
    pub TimelineType = TimelineWord;
    /// Why an order was rejected.
    pub RejectionCode = RefusalCode;
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderView {
    #[schema(value_type = String, example = "ord_0123456789abcdefghjkmnpqrs")]
    pub id: OrderId,
    /// Null only in the first moments of a pending order.
    #[schema(value_type = Option<String>, example = "K7Q2-9XMB")]
    pub number: Option<OrderNumber>,
    #[schema(value_type = String)]
    pub cart_id: CartId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    #[schema(value_type = OrderStatus)]
    pub status: Status,
    #[schema(value_type = PaymentStatus)]
    pub payment_status: Paid,
    #[schema(value_type = FulfillmentStatus)]
    pub fulfillment_status: Fulfillment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub lines: Vec<LineView>,
    #[schema(value_type = schema::Totals)]
    pub totals: Totals,
    pub contact: ContactView,
    pub payments: Vec<PaymentView>,
    pub refunds: Vec<RefundView>,
    pub timeline: Vec<TimelineView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectionView>,
    /// Opens a guest's order (`X-Order-Token`); told on creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[schema(value_type = schema::Time)]
    pub created_at: Time,
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Payment)]
pub struct PaymentView {
    #[schema(value_type = String)]
    pub id: PaymentId,
    #[schema(value_type = schema::Money)]
    pub amount: Money,
    #[schema(value_type = PaymentStage)]
    pub status: Stage,
    #[schema(value_type = PaymentMethod)]
    pub method: Method,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Refund)]
pub struct RefundView {
    #[schema(value_type = String)]
    pub id: RefundId,
    #[schema(value_type = schema::Money)]
    pub amount: Money,
    pub reason: String,
    #[schema(value_type = RefundStatus)]
    pub status: RefundWord,
    #[schema(value_type = schema::Time)]
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub struct TimelineView {
    #[schema(value_type = schema::Time)]
    pub at: Time,
    #[schema(value_type = TimelineType)]
    pub r#type: TimelineWord,
    pub data: BTreeMap<String, String>,
}

/// Why it came to nothing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Rejection)]
pub struct RejectionView {
    #[schema(value_type = RejectionCode)]
    pub code: RefusalCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sku: Option<Sku>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<u64>,
    /// The payment provider's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
}

impl OrderView {
    /// The order at `version`; `None` if nobody has placed it.
    pub fn of(state: &State, version: u64) -> Option<OrderView> {
        let placement = state.placement.as_deref()?;
        Some(OrderView {
            id: placement.order,
            number: state.number.clone(),
            cart_id: placement.cart,
            user_id: placement.user,
            status: state.status,
            payment_status: state.payment_status(),
            fulfillment_status: state.fulfillment_status(),
            reference: placement.reference.clone(),
            metadata: placement.metadata.clone(),
            lines: placement.lines.iter().map(LineView::from).collect(),
            totals: placement.totals,
            contact: (&placement.contact).into(),
            payments: state.payment.iter().map(PaymentView::from).collect(),
            refunds: state.refunds.iter().map(RefundView::from).collect(),
            timeline: state.timeline.iter().map(TimelineView::from).collect(),
            rejection: state.rejection().map(RejectionView::from),
            token: None,
            created_at: state.created_at,
            version,
        })
    }
}

impl From<&OrderLine> for LineView {
    fn from(line: &OrderLine) -> LineView {
        LineView {
            id: line.id,
            sku: line.sku.clone(),
            product_id: line.product,
            title: line.title.as_str().into(),
            quantity: line.quantity.get(),
            unit_price: line.unit_price,
            total: line.total,
        }
    }
}

impl From<&order::Payment> for PaymentView {
    fn from(payment: &order::Payment) -> PaymentView {
        PaymentView { id: payment.id, amount: payment.amount, status: payment.stage, method: payment.method }
    }
}

impl From<&order::Refund> for RefundView {
    fn from(refund: &order::Refund) -> RefundView {
        let order::Refund { id, amount, reason, status, at, by_cancel: _ } = refund.clone();
        RefundView { id, amount, reason, status, at }
    }
}

impl From<&order::TimelineEntry> for TimelineView {
    fn from(entry: &order::TimelineEntry) -> TimelineView {
        TimelineView { at: entry.at, r#type: entry.kind, data: entry.data.clone() }
    }
}

impl From<&OrderRefusal> for RejectionView {
    fn from(refusal: &OrderRefusal) -> RejectionView {
        let OrderRefusal { code, sku, line: _, available, requested, decline } = refusal.clone();
        RejectionView { code, sku, available, requested, decline_code: decline }
    }
}
