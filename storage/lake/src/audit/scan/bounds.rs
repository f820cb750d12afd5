//! Which days and which team a question is about, as far as its filters say so plainly.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use headwater_storage::audit::day_of;

use super::super::listing::Bounds;

/// All rows that pass the filters lie within.
pub(super) fn of(filters: &[Expr]) -> Bounds {
    let mut bounds = Bounds::ALL;
    filters.iter().for_each(|filter| narrow(&mut bounds, filter));
    bounds
}

fn narrow(bounds: &mut Bounds, filter: &Expr) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return };
    if *op == Operator::And {
        narrow(bounds, left);
        narrow(bounds, right);
        return;
    }
    let (column, value, op) = match (left.as_ref(), right.as_ref()) {
        (column, Expr::Literal(value, _)) => (name_of(column), value, Some(*op)),
        (Expr::Literal(value, _), column) => (name_of(column), value, op.swap()),
        _ => return,
    };
    match (column, op) {
        (Some("team"), Some(Operator::Eq)) => {
            if let Some(Some(team)) = value.try_as_str() {
                bounds.team = Some(team.to_owned());
            }
        }
        (Some("day" | "time"), Some(op)) => {
            if let Some(day) = day(value) {
                narrow_days(bounds, op, day);
            }
        }
        _ => {}
    }
}

/// The column that is compared. Another kind of time compares in the same order.
fn name_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(column.name.as_str()),
        Expr::Cast(cast) if cast.field.data_type().is_temporal() => name_of(&cast.expr),
        _ => None,
    }
}

/// A part of the day is as good as the whole.
fn narrow_days(bounds: &mut Bounds, op: Operator, day: u64) {
    let (first, last) = &mut bounds.days;
    match op {
        Operator::Eq => (*first, *last) = ((*first).max(day), (*last).min(day)),
        Operator::Gt | Operator::GtEq => *first = (*first).max(day),
        Operator::Lt | Operator::LtEq => *last = (*last).min(day),
        _ => {}
    }
}

/// The day that a literal lies in.
fn day(value: &ScalarValue) -> Option<u64> {
    let ms = match value {
        ScalarValue::Date32(Some(day)) => return Some(u64::try_from(*day).unwrap_or(0)),
        ScalarValue::TimestampSecond(Some(time), _) => time.checked_mul(1_000)?,
        ScalarValue::TimestampMillisecond(Some(time), _) => *time,
        ScalarValue::TimestampMicrosecond(Some(time), _) => time.div_euclid(1_000),
        ScalarValue::TimestampNanosecond(Some(time), _) => time.div_euclid(1_000_000),
        _ => return None,
    };
    Some(day_of(u64::try_from(ms).unwrap_or(0)))
}
