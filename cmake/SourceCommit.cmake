# Sets VIRNUC_COMMIT: the commit of this checkout ("-dirty" with changes), or what the source distribution says in
# commit.txt, or "unknown". Making a source distribution writes commit.txt, since git does not travel with it.
find_program(GIT_EXECUTABLE git)
set(commit_file "${PROJECT_SOURCE_DIR}/commit.txt")
set(VIRNUC_COMMIT "unknown")
if(GIT_EXECUTABLE AND EXISTS "${PROJECT_SOURCE_DIR}/.git")
  # The folder may belong to another user, as it does in the containers that build wheels.
  execute_process(
    COMMAND "${GIT_EXECUTABLE}" -c "safe.directory=*" describe --always --dirty --abbrev=12 --exclude=*
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    OUTPUT_VARIABLE git_commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(git_commit)
    set(VIRNUC_COMMIT "${git_commit}")
  endif()
elseif(EXISTS "${commit_file}")
  file(STRINGS "${commit_file}" VIRNUC_COMMIT LIMIT_COUNT 1)
endif()
if(SKBUILD_STATE STREQUAL "sdist")
  file(WRITE "${commit_file}" "${VIRNUC_COMMIT}\n")
endif()
message(STATUS "Source commit: ${VIRNUC_COMMIT}")
