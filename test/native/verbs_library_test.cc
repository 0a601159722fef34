// Tests what is said when a verbs library cannot be loaded.
#include "verbs/library.h"

#include <gtest/gtest.h>

#include <string>

#include "verbs/error.h"

namespace verbena::verbs {
namespace {

Error failure_of(const std::string& path) {
  try {
    Library::open(path);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << path << " was loaded";
  return {"", ""};
}

bool mentions(const Error& error, const std::string& text) {
  return std::string(error.what()).find(text) != std::string::npos;
}

TEST(Library, NamesThePackageWhenLibibverbsIsMissing) {
  const Error error = failure_of("/nonexistent/libibverbs.so.1");
  EXPECT_STREQ(error.code(), "ERR_VERBENA_LIBRARY");
  EXPECT_EQ(error.operation(), "dlopen");
  EXPECT_TRUE(mentions(error, "/nonexistent/libibverbs.so.1"));
  EXPECT_TRUE(mentions(error, "apt-get install libibverbs1"));
  EXPECT_TRUE(mentions(error, "dnf install libibverbs"));
}

TEST(Library, NamesTheBuildWhenTheSoftDeviceIsMissing) {
  const Error error = failure_of("/nonexistent/libverbena-soft.so");
  EXPECT_TRUE(mentions(error, "npm run build:native"));
  EXPECT_FALSE(mentions(error, "apt-get"));
}

TEST(Library, NamesBothForAnyOtherPath) {
  const Error error = failure_of("/nonexistent/other.so");
  EXPECT_TRUE(mentions(error, "npm run build:native"));
  EXPECT_TRUE(mentions(error, "apt-get install libibverbs1"));
}

TEST(Library, NamesTheFunctionThatALibraryLacks) {
  const Error error = failure_of("libm.so.6");
  EXPECT_STREQ(error.code(), "ERR_VERBENA_LIBRARY");
  EXPECT_EQ(error.operation(), "dlsym");
  EXPECT_TRUE(mentions(error, "ibv_get_device_list"));
}

TEST(Library, FailsAgainWhenAskedAgain) {
  failure_of("libm.so.6");
  EXPECT_EQ(failure_of("libm.so.6").operation(), "dlsym");
}

TEST(VerbsError, SaysWhatFailedWhyAndWhatToDo) {
  const Error error = verbs_error("ibv_reg_mr_iova2", ENOMEM);
  EXPECT_STREQ(error.code(), "ERR_VERBENA_VERBS");
  EXPECT_EQ(error.error_number(), ENOMEM);
  EXPECT_TRUE(mentions(error, "ibv_reg_mr_iova2 failed: ENOMEM"));
  EXPECT_TRUE(mentions(error, "ulimit -l"));
}

TEST(VerbsError, PrefersWhatTheLibrarySaid) {
  const Error error = verbs_error("ibv_open_device", EADDRINUSE, "127.0.0.4 is held by 4711.");
  EXPECT_TRUE(mentions(error, "127.0.0.4 is held by 4711."));
}

TEST(VerbsError, SpeaksOfUnknownNumbersToo) {
  EXPECT_TRUE(mentions(verbs_error("ibv_modify_qp", 4095), "errno 4095"));
}

TEST(VerbsError, ReadsAllThreeWaysOfReportingFailure) {
  EXPECT_EQ(error_of(0), 0);
  EXPECT_EQ(error_of(ENOMEM), ENOMEM);
  EXPECT_EQ(error_of(-ENOMEM), ENOMEM);
  errno = EBUSY;
  EXPECT_EQ(error_of(-1), EBUSY);
}

}  // namespace
}  // namespace verbena::verbs
