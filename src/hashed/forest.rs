//! Which block continues which, for policies: a block is a candidate only when no kept
//! block continues it.
//!
//! A parent may lose its content before its children do (a caller may force that), and its
//! id may come back with other content. Links carry the generation of the parent's
//! content, so that an old one counts for nothing.

use crate::ids::NONE;

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    parent_generation: u32,
    /// Of this block's own content.
    generation: u32,
    children: u32,
}

#[derive(Debug)]
pub(super) struct Forest {
    nodes: Vec<Node>,
}

impl Forest {
    pub(super) fn new(num_blocks: usize) -> Self {
        let node = Node { parent: NONE, parent_generation: 0, generation: 0, children: 0 };
        Forest { nodes: vec![node; num_blocks] }
    }

    pub(super) fn is_leaf(&self, id: u32) -> bool {
        self.nodes[id as usize].children == 0
    }

    /// `id` has new content, below that of `parent`.
    pub(super) fn plant(&mut self, id: u32, parent: Option<u32>) {
        self.nodes[id as usize].parent = NONE;
        if let Some(parent) = parent.filter(|&parent| parent != id) {
            let above = &mut self.nodes[parent as usize];
            above.children += 1;
            let parent_generation = above.generation;
            let node = &mut self.nodes[id as usize];
            (node.parent, node.parent_generation) = (parent, parent_generation);
        }
    }

    /// The content of `id` is gone. Returns its parent, if that has become a leaf.
    pub(super) fn fell(&mut self, id: u32) -> Option<u32> {
        let node = &mut self.nodes[id as usize];
        node.generation = node.generation.wrapping_add(1);
        node.children = 0;
        let (parent, generation) =
            (std::mem::replace(&mut node.parent, NONE), node.parent_generation);
        let above = self.nodes.get_mut(parent as usize)?;
        if above.generation != generation {
            return None;
        }
        above.children -= 1;
        (above.children == 0).then_some(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_went_first_is_not_its_successors_parent() {
        let mut forest = Forest::new(3);
        forest.plant(0, None);
        forest.plant(1, Some(0));
        forest.plant(2, Some(0));
        assert_eq!(forest.fell(1), None);
        assert!(!forest.is_leaf(0));
        // Block 0 goes, and comes back with other content.
        assert_eq!(forest.fell(0), None);
        forest.plant(0, None);
        forest.plant(1, Some(0));
        assert_eq!(forest.fell(2), None);
        assert!(!forest.is_leaf(0));
        assert_eq!(forest.fell(1), Some(0));
    }
}
