// Owns the tie between a verbs object and those created from it: a child keeps its parent alive,
// and a parent knows that it must not be closed yet.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {

/** Base of objects that others are created from. Confined to one thread. */
class Parent {
 public:
  /**
   * Throws ERR_VERBENA_IN_USE; `what` names this object, `children` what may hang on it. Of the
   * children, `own` are about to be closed and do not count.
   */
  void require_no_children(const std::string& what, const std::string& children,
                           size_t own = 0) const {
    if (children_ <= own) return;
    throw Error(code::kInUse, "The " + what + " is in use by " + std::to_string(children_ - own) +
                                  " open object(s): close its " + children + " first.");
  }

 private:
  template <class P>
  friend class ChildOf;
  size_t children_ = 0;
};

/** Keeps the parent alive and counts as its child until released. */
template <class P>
class ChildOf {
 public:
  explicit ChildOf(std::shared_ptr<P> parent) : parent_(std::move(parent)) { ++parent_->children_; }
  ChildOf(const ChildOf&) = delete;
  ChildOf& operator=(const ChildOf&) = delete;
  ~ChildOf() { release(); }

  void release() {
    if (parent_ == nullptr) return;
    --parent_->children_;
    parent_.reset();
  }

  P* operator->() const { return parent_.get(); }
  P& operator*() const { return *parent_; }

 private:
  std::shared_ptr<P> parent_;
};

}  // namespace verbena::verbs
