// Owns entering, leaving and emptying the list of open objects.
#include "addon/reaper.h"

#include <utility>

namespace verbena::addon {

std::array<std::atomic<size_t>, kKinds> Reaper::everywhere_{};

Closable::~Closable() {
  closed();
}

void Closable::opened(std::shared_ptr<Reaper> reaper, Kind kind, const Closable* owner) {
  reaper_ = std::move(reaper);
  kind_ = kind;
  owner_ = owner;
  position_ = reaper_->objects_.insert(reaper_->objects_.end(), this);
  if (owner != nullptr) reaper_->children_[owner].push_back(this);
  ++reaper_->counts_[static_cast<size_t>(kind)];
  ++Reaper::everywhere_[static_cast<size_t>(kind)];
}

void Closable::closed() {
  if (reaper_ == nullptr) return;
  reaper_->objects_.erase(position_);
  const auto siblings = reaper_->children_.find(owner_);
  if (siblings != reaper_->children_.end()) {
    std::erase(siblings->second, this);
    if (siblings->second.empty()) reaper_->children_.erase(siblings);
  }
  --reaper_->counts_[static_cast<size_t>(kind_)];
  --Reaper::everywhere_[static_cast<size_t>(kind_)];
  reaper_.reset();
}

std::optional<verbs::Error> Reaper::close_all() {
  std::optional<verbs::Error> first;
  // What cannot be closed is set aside, so that each object is tried once.
  std::list<Closable*> stuck;
  while (!objects_.empty()) {
    Closable& newest = *objects_.back();
    try {
      newest.close();
    } catch (const verbs::Error& error) {
      if (!first) first = error;
      stuck.splice(stuck.begin(), objects_, newest.position_);
    }
  }
  objects_.splice(objects_.end(), stuck);
  return first;
}

size_t Reaper::count_children(const Closable& owner) const {
  const auto found = children_.find(&owner);
  return found == children_.end() ? 0 : found->second.size();
}

void Reaper::close_children(const Closable& owner) {
  const auto found = children_.find(&owner);
  if (found == children_.end()) return;
  // A copy, newest first: each child takes itself out.
  const std::vector<Closable*> children(found->second.rbegin(), found->second.rend());
  std::optional<verbs::Error> first;
  for (Closable* child : children) {
    try {
      child->close();
    } catch (const verbs::Error& error) {
      if (!first) first = error;
    }
  }
  if (first) throw verbs::Error(*first);
}

}  // namespace verbena::addon
