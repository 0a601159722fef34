// A list of objects that carry its links themselves, so that entering one needs no memory.
#pragma once

namespace verbena::util {

/** What an object has for each list that it may be in. */
template <class Item>
struct ListLink {
  Item* before = nullptr;
  Item* after = nullptr;
  bool linked = false;
};

/** Holds objects that it does not own, each at most once. Not thread-safe. */
template <class Item, ListLink<Item> Item::*kLink>
class LinkedList {
 public:
  bool empty() const { return first_ == nullptr; }
  /** Null when it is empty. */
  Item* front() const { return first_; }
  /** Null behind the last. */
  static Item* after(const Item& item) { return (item.*kLink).after; }

  /** Changes nothing when it is there. */
  void push_back(Item& item) {
    ListLink<Item>& link = item.*kLink;
    if (link.linked) return;
    link = {last_, nullptr, true};
    (last_ == nullptr ? first_ : (last_->*kLink).after) = &item;
    last_ = &item;
  }

  /** Changes nothing when it is not there. */
  void remove(Item& item) {
    ListLink<Item>& link = item.*kLink;
    if (!link.linked) return;
    (link.before == nullptr ? first_ : (link.before->*kLink).after) = link.after;
    (link.after == nullptr ? last_ : (link.after->*kLink).before) = link.before;
    link = {};
  }

  /** Null when it is empty. */
  Item* pop_front() {
    Item* const item = first_;
    if (item != nullptr) remove(*item);
    return item;
  }

 private:
  Item* first_ = nullptr;
  Item* last_ = nullptr;
};

}  // namespace verbena::util
