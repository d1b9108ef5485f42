//! What one new node takes of what is left, so that no dimension runs out before the others.
//!
//! In proportion: the node takes of each class the part that it can hold of all, so what is left keeps its mixture and the
//! next node can be filled as well as this one. What rounding leaves is topped up, the larger pods first.

use super::room::Room;

/// A class that is to be bought for.
#[derive(Debug, Clone)]
pub(super) struct Share<'a> {
    pub(super) class: usize,
    pub(super) left: usize,
    pub(super) wants: &'a Room,
}

/// The part of all these pods that fits into a room, as far as sums go: at most 1.
pub(super) fn part<'a>(room: &Room, shares: impl Iterator<Item = &'a Share<'a>>) -> f64 {
    let mut all: Option<Room> = None;
    for share in shares {
        match &mut all {
            None => {
                let mut first = share.wants.clone();
                first.add(share.wants, share.left.saturating_sub(1));
                all = Some(first);
            }
            Some(all) => all.add(share.wants, share.left),
        }
    }
    let most = all.map_or(f64::INFINITY, |all| all.share_of(room));
    if most <= 1.0 { 1.0 } else { 1.0 / most }
}

/// How many of each of these one room takes: `shares` in proportion, `first` at least once, then what fits of `others`.
pub(super) fn fill(
    room: &Room,
    shares: &[Share<'_>],
    first: usize,
    others: &[Share<'_>],
) -> Vec<(usize, usize)> {
    let mut free = room.clone();
    let mut taken = vec![0_usize; shares.len()];
    let mut take = |taken: &mut usize, share: &Share<'_>, count: usize| {
        let count = count.min(share.left - *taken).min(free.times(share.wants));
        *taken += count;
        free.take(share.wants, count);
    };
    if let Some(at) = shares.iter().position(|share| share.class == first) {
        take(&mut taken[at], &shares[at], 1);
    }
    let part = part(room, shares.iter());
    let wished: Vec<f64> = shares.iter().map(|share| part * share.left as f64).collect();
    for (at, share) in shares.iter().enumerate() {
        let whole = wished[at] as usize;
        let more = whole.saturating_sub(taken[at]);
        take(&mut taken[at], share, more);
    }
    // Those first whose rounding took most from them.
    let mut order: Vec<usize> = (0..shares.len()).collect();
    let rest = |at: &usize| wished[*at] - wished[*at].floor();
    order.sort_by(|a, b| rest(b).total_cmp(&rest(a)).then(a.cmp(b)));
    for at in order {
        if (taken[at] as f64) < wished[at] {
            take(&mut taken[at], &shares[at], 1);
        }
    }
    for (at, share) in shares.iter().enumerate() {
        take(&mut taken[at], share, share.left);
    }
    let mut found: Vec<(usize, usize)> =
        shares.iter().zip(taken).map(|(share, count)| (share.class, count)).collect();
    for share in others {
        let mut count = 0;
        take(&mut count, share, share.left);
        found.push((share.class, count));
    }
    found.retain(|(_, count)| *count > 0);
    found
}
