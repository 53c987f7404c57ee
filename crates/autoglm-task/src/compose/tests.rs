//! Prompts as they are composed, one snapshot per kind, language and form.
