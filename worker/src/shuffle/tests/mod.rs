//! Several parts of the shuffle together.

mod damage;
